"""What the API page shows for the operations of fish-speech's own server."""

from fishs2.server.examples import OWN_VOICE, SPOKEN, Example

EXAMPLES = {
    ("post", "/v1/references/add"): Example(body={"id": OWN_VOICE, "text": SPOKEN}),
    ("get", "/v1/references/list"): Example(
        answer={"success": True, "reference_ids": [OWN_VOICE], "message": "1 found"}
    ),
    ("delete", "/v1/references/delete"): Example(body={"reference_id": OWN_VOICE}),
    ("post", "/v1/references/update"): Example(
        body={"old_reference_id": OWN_VOICE, "new_reference_id": "my-other-voice"}
    ),
    ("post", "/v1/vqgan/encode"): Example(body={}),
    ("post", "/v1/vqgan/decode"): Example(body={"tokens": [[[0, 1, 2]] * 10]}),
    ("get", "/v1/health"): Example(answer={"status": "ok"}),
    ("post", "/v1/health"): Example(answer={"status": "ok"}),
}
