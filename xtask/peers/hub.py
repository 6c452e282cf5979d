"""What huggingface_hub finds in a cache: `hub.py CACHE REPO REVISION` prints the folder and its files."""

import json
import pathlib
import sys

from huggingface_hub import scan_cache_dir, snapshot_download, try_to_load_from_cache

cache, repo, revision = sys.argv[1:]
folder = pathlib.Path(
    snapshot_download(repo, revision=revision, cache_dir=cache, local_files_only=True)
)
files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
found = [try_to_load_from_cache(repo, name, cache_dir=cache, revision=revision) for name in files]
scan = scan_cache_dir(cache)
print(
    json.dumps(
        {
            "folder": str(folder),
            "files": files,
            "found": [str(path) for path in found],
            "size": scan.size_on_disk,
            "warnings": [str(warning) for warning in scan.warnings],
        }
    )
)
