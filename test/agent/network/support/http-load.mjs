// http-load.mjs ADDRESS PORT REQUESTS CONNECTIONS: GETs over kept connections; prints how many were answered.
import { Agent, get } from 'node:http';

const [host, port, requests, connections] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: Number(connections) });
let asked = 0;
let answered = 0;
const one = () =>
  new Promise((resolve) => {
    get({ host, port, agent, path: '/' }, (response) => {
      response.resume();
      response.on('end', () => {
        answered += 1;
        resolve();
      });
    }).on('error', resolve);
  });
const worker = async () => {
  while (asked < Number(requests)) {
    asked += 1;
    await one();
  }
};
await Promise.all(Array.from({ length: Number(connections) }, worker));
agent.destroy();
console.log(answered);
