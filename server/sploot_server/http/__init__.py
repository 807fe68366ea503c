"""HTTP API: routes, middleware, request bodies, resumable uploads and the push channel."""
