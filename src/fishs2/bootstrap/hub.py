"""One file of a Hugging Face repository, through huggingface_hub: it resumes and locks by itself.

HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN and HF_HOME mean what they mean there.
"""

from pathlib import Path

from fishs2.bootstrap.download import check_disk, has_sha256, only_one
from fishs2.bootstrap.progress import Progress
from fishs2.errors import DownloadError


def download_from_hub(
    repo_id: str,
    filename: str,
    path: Path,
    progress: Progress,
    *,
    sha256: str | None = None,
    pinned: str | None = None,
    force: bool = False,
) -> None:
    """Bring `filename` of a repository to `path`. Raises DownloadError.

    sha256: what a setting asks for, also of a file that is there; pinned: asked of a download only.
    The hub's own progress bar shows. A file that is there stays until its successor is complete.
    """
    # Imported here: it takes longer to load than most starts need in all.
    from httpx2 import HTTPError
    from huggingface_hub import HfFileMetadata, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    with only_one(path, progress):
        if not force and path.is_file() and has_sha256(path, sha256):
            return
        staging = path.parent / ".hub"
        try:
            metadata: HfFileMetadata = get_hf_file_metadata(hf_hub_url(repo_id, filename))
            check_disk(path.parent, metadata.size or 0, path.name)
            came = Path(hf_hub_download(repo_id, filename, local_dir=staging))
        except LocalEntryNotFoundError as error:
            raise DownloadError(_unreachable(repo_id, path)) from error
        except HfHubHTTPError as error:
            why = str(error).splitlines()[0]
            raise DownloadError(f"{filename} of {repo_id} cannot be had: {why}") from error
        except (OSError, ValueError, HTTPError) as error:
            # Offline, no network, a full disk: the hub's package raises what its layers raise.
            raise DownloadError(
                f"{_unreachable(repo_id, path)} ({type(error).__name__})"
            ) from error
        _keep_if(came, sha256, _not_as_asked(filename, sha256))
        _keep_if(came, pinned, _not_as_pinned(repo_id, filename, pinned))
        came.replace(path)


def _keep_if(came: Path, sha256: str | None, complaint: str) -> None:
    if not has_sha256(came, sha256):
        came.unlink()
        raise DownloadError(complaint)


def _not_as_asked(filename: str, sha256: str | None) -> str:
    return (
        f"{filename} does not have the SHA-256 {sha256}; the download was removed. "
        "Try again, or correct the expected value"
    )


def _not_as_pinned(repo_id: str, filename: str, pinned: str | None) -> str:
    return (
        f"{filename} of {repo_id} does not have the SHA-256 {pinned} that fishs2 expects: it was "
        "damaged on its way, or the repository has another file by this name. The download was "
        "removed. Try again; if you know that the new file is right, `fishs2 fetch --pin` takes "
        "over what the hub says"
    )


def _unreachable(repo_id: str, path: Path) -> str:
    return (
        f"Hugging Face cannot be reached for {repo_id}: check the network, or bring the file there "
        f"yourself, as {path}; S2 Pro may also come from FISHS2_MODEL_URL"
    )
