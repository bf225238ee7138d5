"""The signer before a judge: a server of S3 that checks signatures and refuses what is signed wrong."""
import os

from harness import BIN, run
from swift import ACCESS_KEY, SECRET_KEY, needs_swift, swift


@needs_swift
def test_a_server_that_checks_signatures_takes_ours(tmp_path):
    program = os.path.join(os.path.dirname(BIN), "tests", "test_sigv4_server")
    assert os.access(program, os.X_OK), f"not built: {program}"
    with swift(tmp_path) as endpoint:
        code, out, err = run([program], timeout=60, env={**os.environ, "S3_ENDPOINT": endpoint,
                                                         "S3_ACCESS_KEY": ACCESS_KEY, "S3_SECRET_KEY": SECRET_KEY})
    assert code == 0, out + err
    assert "skipped" not in (out + err).lower(), out + err
