"""Storage of assets, embeddings and originals."""
