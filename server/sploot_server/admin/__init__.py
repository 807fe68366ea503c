"""Admin commands of the server: users, tokens, export and import."""
