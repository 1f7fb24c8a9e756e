"""Content as JSON can hold it."""

import json
from typing import Any


def finite(content: Any) -> Any:
    """JSON values of the content: null in place of NaN and infinity, which JSON lacks, and lists in place of tuples."""
    return json.loads(json.dumps(content), parse_constant=lambda _: None)
