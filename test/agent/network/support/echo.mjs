// echo.mjs NAME PORT: says "NAME CLIENT_ADDRESS" to each TCP client and UDP packet, then echoes.
import dgram from 'node:dgram';
import net from 'node:net';

const [name, port] = process.argv.slice(2);
const say = (address) => `${name} ${address.replace('::ffff:', '')}\n`;
const server = net.createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.write(say(socket.remoteAddress ?? ''));
  socket.on('data', (data) => socket.write(data));
});
server.listen({ port: Number(port), host: '0.0.0.0' }, () => {
  const udp = dgram.createSocket('udp4');
  udp.on('message', (_, from) => udp.send(say(from.address), from.port, from.address));
  udp.bind(Number(port), () => console.log('ready'));
});
