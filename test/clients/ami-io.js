'use strict';
const job = require('./job');
const AmiIo = require('ami-io');

const client = new AmiIo.Client({
  host: job.host, port: job.port, login: job.user, password: job.secret, logger: new AmiIo.SilentLogger(),
});
client.on('rawEvent', (e) => job.event(e.event, e.channel));

// The library calls an answer that does not say Success an error, Goodbye too.
function send(name, headers) {
  const action = Object.assign(new AmiIo.Action[name](), headers);
  return new Promise((resolve, reject) => {
    client.send(action, (err, res) => {
      if (err && (err instanceof Error || err.response === 'Error')) reject(err);
      else resolve(err || res);
    });
  });
}

job.run({
  login: () => new Promise((resolve, reject) => {
    client.on('connected', () => resolve(client.getVersion()));
    for (const name of ['incorrectServer', 'incorrectLogin', 'connectionRefused']) {
      client.on(name, () => reject(new Error(name)));
    }
    client.connect();
  }),
  ping: () => send('Ping'),
  list: () => send('CoreShowChannels').then((res) => ({
    items: res.events.filter((e) => e.event === 'CoreShowChannel'), end: res.events.pop(),
  })),
  command: () => job.fenced(send('Command', { Command: job.COMMAND }), send('Ping'))
    .then((res) => ({ response: res, output: res.incomingData })),
  originate: () => send('Originate', { ...job.originate, WaitEvent: true }),
  logoff: () => {
    const closed = new Promise((resolve) => client.once('disconnected', resolve));
    return send('Logoff').then((res) => closed.then(() => res));
  },
});
