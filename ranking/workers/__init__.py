"""Child processes: index builds and embeddings, never in the server."""
