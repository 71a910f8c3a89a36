// hold.mjs HOST PORT COUNT: keeps COUNT TCP connections and as many UDP sockets. Says once who answered; on each
// line of input how many connections still echo, and who answers the UDP sockets now.
import dgram from 'node:dgram';
import net from 'node:net';
import { createInterface } from 'node:readline';

const [host, port, count] = process.argv.slice(2);
const next = (emitter, event) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(''), 2000);
    emitter.once(event, (data) => {
      clearTimeout(timer);
      resolve(String(data));
    });
  });
const who = (texts) => [...new Set(texts.map((text) => text.split(' ')[0]))].sort();
const sockets = [];
const udps = [];
for (let i = 0; i < Number(count); i++) {
  const socket = net.connect({ host, port: Number(port) });
  socket.on('error', () => socket.destroy());
  sockets.push([socket, await next(socket, 'data')]);
  const udp = dgram.createSocket('udp4');
  udp.on('error', () => undefined);
  await new Promise((resolve) => udp.connect(Number(port), host, resolve));
  udps.push(udp);
}
const askUdp = () =>
  Promise.all(
    udps.map((udp) => {
      const answer = next(udp, 'message');
      udp.send('x');
      return answer;
    }),
  );
const udp = who(await askUdp());
console.log(JSON.stringify({ opened: who(sockets.map(([, name]) => name)), udp }));
createInterface({ input: process.stdin }).on('line', async () => {
  let echoed = 0;
  await Promise.all(
    sockets.map(async ([socket]) => {
      const answer = next(socket, 'data');
      socket.write('ping');
      if ((await answer) === 'ping') echoed += 1;
    }),
  );
  console.log(JSON.stringify({ echoed, udp: who(await askUdp()) }));
});
