// knock.mjs tcp|udp ADDRESS PORT: prints what came back and after how many milliseconds: {answer, afterMs}.
// TCP leaves it to the kernel to try again; UDP asks again each 300 ms, as its clients do.
import dgram from 'node:dgram';
import net from 'node:net';

const [protocol, host, port] = process.argv.slice(2);
const began = performance.now();
const say = (answer) => {
  console.log(
    JSON.stringify({ answer: String(answer).trim(), afterMs: performance.now() - began }),
  );
  process.exit();
};
setTimeout(() => say('TIMEOUT'), 15_000);
console.log('trying');
if (protocol === 'tcp') {
  const socket = net.connect({ host, port: Number(port) });
  socket.on('data', say);
  socket.on('error', (error) => say(error.code));
} else {
  const socket = dgram.createSocket('udp4');
  socket.on('message', say);
  socket.on('error', (error) => say(error.code));
  socket.connect(Number(port), host, () => {
    const ask = () => socket.send('who', (error) => error && say(error.code));
    ask();
    setInterval(ask, 300);
  });
}
