// ElevenLabs' SDK for JavaScript: says as JSON what it got from the server in its first argument.
const { ElevenLabsClient } = require("@elevenlabs/elevenlabs-js");

const TEXT = "Hello there. How are you today?";

async function count(stream) {
    let bytes = 0;
    for await (const piece of stream) bytes += piece.length;
    return bytes;
}

async function main(baseUrl) {
    const client = new ElevenLabsClient({ apiKey: "any", baseUrl });
    const speech = client.textToSpeech;
    const asked = { text: TEXT, outputFormat: "pcm_24000" };
    const timed = await speech.convertWithTimestamps("alice", asked);
    const told = { audio: 0, text: "" };
    for await (const line of await speech.streamWithTimestamps("alice", asked)) {
        told.audio += Buffer.from(line.audioBase64, "base64").length;
        told.text += line.alignment ? line.alignment.characters.join("") : "";
    }
    let refused = null;
    try {
        await count(await speech.convert("nobody", { text: TEXT }));
    } catch (error) {
        refused = error.statusCode;
    }
    console.log(
        JSON.stringify({
            whole: await count(await speech.convert("alice", asked)),
            streamed: await count(await speech.stream("alice", asked)),
            timed: Buffer.from(timed.audioBase64, "base64").length,
            timed_text: timed.alignment.characters.join(""),
            lines: told.audio,
            lines_text: told.text,
            voices: (await client.voices.getAll()).voices.map((voice) => voice.voiceId),
            searched: (await client.voices.search({ search: "alice" })).voices.length,
            models: (await client.models.list()).map((model) => model.modelId),
            user: (await client.user.get()).userId,
            status: (await client.user.subscription.get()).status,
            refused,
        }),
    );
}

main(process.argv[2]);
