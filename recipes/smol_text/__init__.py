"""Recipe of the text model `smol`: SmolLM2-135M-Instruct as a masked diffusion model."""
