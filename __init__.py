"""WanLoom as a ComfyUI extension; without ComfyUI around it, this file does nothing."""

try:
    import comfy_api.latest  # noqa: F401  # the host, and nothing else, may be missing
except ImportError:
    __all__: list[str] = []
else:
    from .nodes import comfy_entrypoint

    WEB_DIRECTORY = "./web"
    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
