"""Writers of documents, records and rows: text, HTML, SVG, Markdown, JSON, CSV, C."""
