"""Each kind of result as a document, as JSON, as rows: one module for each."""
