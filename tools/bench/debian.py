"""Programs that Debian has as packages: whether they are here, and which version."""
import shutil
import subprocess


class Packaged:
    """Of a class that says its `program` and `package`."""

    @classmethod
    def missing(cls, _options):
        """Why it cannot run here; None where it can."""
        if shutil.which(cls.program):
            return None
        return f"{cls.program} is not installed: as root, apt-get install --no-install-recommends {cls.package}"

    @classmethod
    def version(cls, _options):
        return cls.package + " " + subprocess.run(["dpkg-query", "-W", "-f", "${Version}", cls.package],
                                                  capture_output=True, text=True, check=False).stdout
