"""Print the JSON schema of the config (`make schema`)."""

import json

from whypretrain.config.models import schema

if __name__ == "__main__":
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
