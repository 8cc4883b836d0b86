"""Tables and pages: Markdown, LaTeX, CSV and HTML of what scoring and figures give."""
