// Preloaded into servers that would listen on every interface and on a port of their own choice:
// they listen on loopback, on a free port, and say which one on standard error.
import net from 'node:net';

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...given) {
  const done = given.filter((argument) => typeof argument === 'function');
  this.once('listening', () => process.stderr.write(`port=${this.address().port}\n`));
  return listen.call(this, { host: '127.0.0.1', port: 0 }, ...done);
};
