"""Training of the embedded text model: a teacher's text, and a masked diffusion model on it."""
