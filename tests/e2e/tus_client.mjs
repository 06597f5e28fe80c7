// Uploads a file with tus-js-client as a page or a Node program would; prints one line of JSON.
//
// Usage: node tus_client.mjs '{"endpoint": ..., "token": ..., "file": ..., "memory": ..., ...}'
// With "cut" the upload is aborted when so many bytes are confirmed; run again, it goes on from "memory". A
// parallel upload is remembered only when the server has answered for each of its parts: it is not cut before.
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';

const { Upload, FileUrlStorage } = createRequire(new URL('../../web/client/package.json', import.meta.url))('tus-js-client');
const asked = JSON.parse(process.argv[2]);
const said = { requests: [], resumed: false };

function finish(outcome) {
  console.log(JSON.stringify({ ...said, ...outcome }));
  process.exit(0);
}

const sources = {
  file: () => createReadStream(asked.file),
  // Of a file that is sent in pieces tus-js-client 4.3 never says that it is complete, in the draft's words.
  memory: () => readFileSync(asked.file),
  // A length that is not known: of a file the library would know it.
  stream: () => createReadStream(asked.file).pipe(new PassThrough()),
};
const remembered = () => (statSync(asked.memory, { throwIfNoEntry: false })?.size ?? 0) > 0;
const upload = new Upload(sources[asked.source ?? 'file'](), {
  endpoint: asked.endpoint,
  headers: { Authorization: `Bearer ${asked.token}` },
  metadata: asked.metadata,
  uploadLengthDeferred: asked.source === 'stream',
  chunkSize: asked.chunk,
  parallelUploads: asked.parallel ?? 1,
  protocol: asked.protocol ?? 'tus-v1',
  retryDelays: [100, 200, 400],
  storeFingerprintForResuming: true,
  urlStorage: new FileUrlStorage(asked.memory),
  fingerprint: async () => asked.file,
  onBeforeRequest: (request) => said.requests.push(request.getMethod()),
  onProgress: (sent) => {
    if (asked.cut && sent >= asked.cut && remembered()) {
      upload.abort().then(() => finish({ url: upload.url, cut: sent }));
    }
  },
  onError: (error) => finish({ error: String(error) }),
  onSuccess: ({ lastResponse }) => finish({ url: upload.url, video: lastResponse.getHeader('X-Video-Id') }),
});

const earlier = await upload.findPreviousUploads();
if (earlier.length > 0) {
  said.resumed = true;
  upload.resumeFromPreviousUpload(earlier[0]);
}
upload.start();
