"""What the project ships beside its code: where it lies and what is chosen where nobody chose."""

from pathlib import Path

DEMO = Path(__file__).resolve().parent / "demo"
MODELS = Path(__file__).resolve().parent / "models"
DEFAULT_WEIGHTS = "world-100"
