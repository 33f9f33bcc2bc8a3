"""The embedded text model: text from a small teacher, and a masked diffusion model taught on it."""
