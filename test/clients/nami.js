'use strict';
const job = require('./job');
const { Nami, Actions } = require('nami');

const logger = { error() {}, warn() {}, info() {}, debug() {} };
const nami = new Nami({ host: job.host, port: job.port, username: job.user, secret: job.secret, logger });
nami.on('namiEvent', (e) => job.event(e.event, e.channel));

function send(name, headers) {
  const action = new Actions[name]();
  for (const key in headers) action.set(key, headers[key]);
  return new Promise((resolve, reject) => {
    nami.send(action, (res) => (res.response === 'Error' ? reject(res) : resolve(res)));
  });
}

job.run({
  login: () => new Promise((resolve, reject) => {
    nami.on('namiConnected', () => resolve('connected'));
    nami.on('namiLoginIncorrect', () => reject(new Error('incorrect login')));
    nami.on('namiInvalidPeer', (data) => reject(new Error('invalid peer: ' + data)));
    nami.open();
  }),
  ping: () => send('Ping'),
  list: () => send('CoreShowChannels').then((res) => ({
    items: res.events.filter((e) => e.event === 'CoreShowChannel'), end: res.events.pop(),
  })),
  command: () => job.fenced(send('Command', { Command: job.COMMAND }), send('Ping'))
    .then((res) => ({ response: res, output: res.lines })),
  originate: () => send('Originate', job.originate),
  logoff: () => {
    const closed = new Promise((resolve) => nami.once('namiConnectionClose', resolve));
    return send('Logoff').then((res) => closed.then(() => res));
  },
});
