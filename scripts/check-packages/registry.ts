import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export interface PublishedPackage {
  name: string;
  version: string;
  dependencies: Record<string, string>;
  tarball: Buffer;
}

export interface Registry {
  url: string;
  published: Map<string, PublishedPackage>;
  close(): void;
}

interface PublishRequest {
  name: string;
  versions: Record<string, { dependencies?: Record<string, string> }>;
  _attachments: Record<string, { data: string }>;
}

async function readPublished(request: IncomingMessage): Promise<PublishedPackage> {
  const { name, versions, _attachments } = JSON.parse(await text(request)) as PublishRequest;
  const [[version, manifest]] = Object.entries(versions);
  const [attachment] = Object.values(_attachments);
  return { name, version, dependencies: manifest.dependencies ?? {}, tarball: Buffer.from(attachment.data, "base64") };
}

/** An npm registry on this machine's own address that knows no package and keeps whatever is published to it. */
export async function startRegistry(): Promise<Registry> {
  const published = new Map<string, PublishedPackage>();
  const server = createServer((request, response) => {
    const answer = (status: number) => response.writeHead(status, { "content-type": "application/json" }).end("{}");
    if (request.method !== "PUT") {
      answer(404);
      return;
    }
    readPublished(request).then(
      (one) => {
        published.set(one.name, one);
        answer(201);
      },
      () => answer(400),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, published, close: () => server.close() };
}
