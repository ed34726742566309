"""What a document, a record or rows become: text, HTML, SVG, Markdown, CSV, JSON, C."""
