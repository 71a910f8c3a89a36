// http-server.mjs PORT: answers each request with a few bytes, on connections that stay.
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  request.resume();
  response.end('hello\n');
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), '0.0.0.0', () => console.log('ready'));
