// same-port.mjs PORT FROM COUNT HOST...: for each of COUNT local ports from FROM on, a TCP connection and a UDP
// socket to PORT of every host, all at once. Prints as JSON what did not answer, or stopped answering.
import dgram from 'node:dgram';
import net from 'node:net';

const [port, from, count, ...hosts] = process.argv.slice(2);
const failures = [];
const next = (emitter, event) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve('TIMEOUT'), 5000);
    const end = (data) => {
      clearTimeout(timer);
      resolve(data instanceof Error ? data.code : String(data));
    };
    emitter.once(event, end);
    emitter.once('error', end);
  });

async function tcp(host, localPort) {
  const socket = net.connect({ host, port: Number(port), localPort });
  socket.on('error', () => socket.destroy());
  const answers = [await next(socket, 'data')];
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.write('ping');
    answers.push(await next(socket, 'data'));
  }
  socket.destroy();
  if (!answers[0].includes(' ') || answers.slice(1).some((answer) => answer !== 'ping')) {
    failures.push(`tcp ${localPort} by ${host}: ${answers}`);
  }
}

async function udp(host, localPort) {
  const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
  await new Promise((resolve) => socket.bind(localPort, resolve));
  await new Promise((resolve) => socket.connect(Number(port), host, resolve));
  for (let turn = 0; turn < 3; turn++) {
    socket.send('x');
    const answer = await next(socket, 'message');
    if (!answer.includes(' ')) failures.push(`udp ${localPort} by ${host}: ${answer}`);
  }
  socket.close();
}

const ports = Array.from({ length: Number(count) }, (_, i) => Number(from) + i);
await Promise.all(
  ports.flatMap((local) => hosts.flatMap((host) => [tcp(host, local), udp(host, local)])),
);
console.log(JSON.stringify(failures));
process.exit(0);
