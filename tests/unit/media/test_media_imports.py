"""The server process stays small: decoders live in children only (issue target: under 300 MB resident)."""

import subprocess
import sys

from media.child import ROOT

SERVED = "media.pipeline, media.probe, media.stores, media.s3, media.urls, media.delivery, media.generate"


def test_server_side_modules_load_no_decoder_and_no_numpy() -> None:
    code = f"import sys, {SERVED}; print(sorted({{'av', 'numpy', 'aioboto3', 'PIL'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
