-- So that they are counted without reading the vectors beside them.
CREATE INDEX embeddings_by_state ON embeddings (state);
