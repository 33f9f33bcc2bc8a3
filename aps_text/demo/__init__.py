"""`aps demo`: a page to ask on, whose server is this process. Only `app` imports Gradio."""
