import type { JetStreamManager } from '@nats-io/jetstream';
import type {
  Authenticator,
  NatsConnection as Client,
  ConnectionOptions,
} from '@nats-io/transport-node';
import { messageOf, ShoalError } from '../../../../shared/errors.ts';
import type { NatsMetric } from '../../../../shared/gen/shoal/v1/autoscale.ts';
import { joinHostPort } from '../../../../shared/model/host-port.ts';
import { type Dial, parseNatsUrls, type Server } from '../address.ts';
import type { Connection, Connections } from '../connections.ts';
import type { Credentials } from '../credentials.ts';
import type { Source } from '../follower.ts';
import { READ_WITHIN_MS } from '../pace.ts';
import { type Access, fingerprint, sourceError } from './access.ts';
import { greetingOf } from './nats-greeting.ts';
import { tlsOptions } from './tls.ts';

/** A silent server is noticed after two of these. */
const PING_EVERY_MS = 5_000;

/** The source of a JetStream consumer's backlog. */
export function natsSource(
  metric: NatsMetric,
  access: Access,
  connections: Connections<NatsConnection>,
): Source {
  const lease = connections.lease();
  let attempt = 0;
  return {
    kind: 'queue',
    where: metric.url.includes('@') ? 'nats' : metric.url,
    close: () => lease.close(),
    async read() {
      const servers = parseNatsUrls(metric.url);
      // One server a try, the next one after a failure: one that does not answer takes all the time there is.
      const server = servers[attempt % servers.length] ?? servers[0];
      if (server === undefined) throw new TypeError('a URL has one server at least');
      let credentials: Credentials | undefined;
      try {
        const known = access.credentials(metric.auth);
        credentials = known;
        const dial = await access.dial(server);
        const id = fingerprint(...Object.values(dial), server.tls, ...Object.values(known));
        const connection = await lease.use(id, () => openNats(server, dial, known));
        return await connection.backlog(metric.stream, metric.consumer);
      } catch (error) {
        attempt += 1;
        throw sourceError(error, server, credentials, access.hintFor(server));
      }
    },
  };
}

export class NatsConnection implements Connection {
  readonly #client: Client;
  readonly #manager: JetStreamManager;

  constructor(client: Client, manager: JetStreamManager) {
    this.#client = client;
    this.#manager = manager;
  }

  get closed(): boolean {
    return this.#client.isClosed();
  }

  close(): void {
    this.#client.close().catch(() => undefined);
  }

  /** Messages that the consumer did not get yet, and those it got and did not acknowledge. */
  async backlog(stream: string, consumer: string): Promise<number> {
    try {
      const info = await this.#manager.consumers.info(stream, consumer);
      return info.num_pending + info.num_ack_pending;
    } catch (error) {
      const said = `stream ${stream}, consumer ${consumer}: ${messageOf(error)}`;
      throw new ShoalError('failed-precondition', said);
    }
  }
}

async function openNats(
  server: Server,
  { host, port, serverName }: Dial,
  known: Credentials,
): Promise<NatsConnection> {
  const { username, password, token, ca, credentials, certificate } = known;
  const wantsTls = server.tls || ca !== '' || certificate !== '';
  const { tlsRequired } = await greetingOf({ host, port }, READ_WITHIN_MS / 2);
  if (tlsRequired && !wantsTls) {
    throw new ShoalError('failed-precondition', 'the server wants TLS: write tls:// in the URL');
  }
  // At first use: managers without such metrics do not pay for them.
  const [nats, { jetstreamManager }] = await Promise.all([
    import('@nats-io/transport-node'),
    import('@nats-io/jetstream'),
  ]);
  const options: ConnectionOptions = {
    servers: joinHostPort(host, port),
    name: 'shoal-autoscaler',
    ...(username === '' ? {} : { user: username }),
    ...(password === '' ? {} : { pass: password }),
    ...(token === '' ? {} : { token }),
    ...(credentials === '' ? {} : { authenticator: authenticatorOf(credentials, nats) }),
    tls: wantsTls ? { ...tlsOptions(serverName, known), handshakeFirst: false } : null,
    timeout: READ_WITHIN_MS / 2,
    reconnect: false,
    resolve: false,
    ignoreClusterUpdates: true, // the addresses that a server tells of may be of its own network
    pingInterval: PING_EVERY_MS,
    maxPingOut: 1,
  };
  const client = await nats.connect(options);
  try {
    const manager = await jetstreamManager(client, { timeout: READ_WITHIN_MS, checkAPI: false });
    return new NatsConnection(client, manager);
  } catch (error) {
    client.close().catch(() => undefined);
    throw error;
  }
}

type Library = Pick<
  typeof import('@nats-io/transport-node'),
  'credsAuthenticator' | 'nkeyAuthenticator'
>;

/** Signs what the server sends. Throws ShoalError `invalid-argument` for what is neither kind of key. */
function authenticatorOf(
  credentials: string,
  { credsAuthenticator, nkeyAuthenticator }: Library,
): Authenticator {
  const bytes = new TextEncoder().encode(credentials);
  if (/^SU[A-Z2-7]{56}$/.test(credentials)) return nkeyAuthenticator(bytes);
  if (credentials.includes('-----BEGIN NATS USER JWT-----')) return credsAuthenticator(bytes);
  throw new ShoalError(
    'invalid-argument',
    'the secret of credentials_secret is no credentials file of NATS and no seed of a user',
  );
}
