"""The ways to send a content: by path and by tus. Single uploads and bundles are in `delivery`."""
