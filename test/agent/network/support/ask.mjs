// ask.mjs tcp|udp HOST PORT COUNT: asks COUNT times, each time from a new socket; prints the answers as JSON.
// A refusal or time-out is the error's code in place of the answer.
import dgram from 'node:dgram';
import net from 'node:net';

const [protocol, host, port, count = '1'] = process.argv.slice(2);
const tcp = () =>
  new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) });
    const end = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(2000, () => end('TIMEOUT'));
    socket.on('error', (error) => end(error.code));
    socket.once('data', (data) => end(data.toString().trim()));
  });
const udp = () =>
  new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    const end = (answer) => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => end('TIMEOUT'), 2000);
    socket.on('error', (error) => end(error.code));
    socket.on('message', (data) => end(data.toString().trim()));
    socket.connect(Number(port), host, () => socket.send('x'));
  });
const answers = [];
for (let i = 0; i < Number(count); i++) answers.push(await (protocol === 'tcp' ? tcp() : udp()));
console.log(JSON.stringify(answers));
process.exit(0);
