'use strict';
const job = require('./job');

const ami = require('asterisk.io').ami(job.host, job.port, job.user, job.secret);
ami.on('eventAny', (e) => job.event(e.Event, e.Channel));

function action(name, headers) {
  return new Promise((resolve, reject) => {
    ami.action(name, headers, (data) => (data.Response === 'Error' ? reject(new Error(data.Message)) : resolve(data)));
  });
}

job.run({
  login: () => new Promise((resolve, reject) => {
    ami.on('ready', resolve);
    ami.on('error', reject);
  }),
  ping: () => action('Ping'),
  list: () => new Promise((resolve) => {
    const items = [];
    let id;
    ami.on('eventAny', (e) => {
      if (!id || e.ActionID !== id) return;
      if (e.Event === 'CoreShowChannel') items.push(e);
      if (e.EventList === 'Complete') resolve({ items, end: e });
    });
    ami.action('CoreShowChannels', {}, (data) => { id = data.ActionID; });
  }),
  command: () => action('Command', { Command: job.COMMAND }).then((data) => ({ response: data, output: data.Output })),
  originate: () => action('Originate', { ...job.originate }),
  logoff: () => {
    const closed = new Promise((resolve) => ami.once('error', resolve)); // So it says that the server closed.
    return action('Logoff').then((data) => closed.then(() => data));
  },
});
