'use strict';
const job = require('./job');
const AmiClient = require('asterisk-ami-client');

const client = new AmiClient();
client.on('event', (e) => job.event(e.Event, e.Channel));

job.run({
  login: () => client.connect(job.user, job.secret, { host: job.host, port: job.port }).then(() => 'connected'),
  ping: () => client.action({ Action: 'Ping' }, true),
  list: () => new Promise((resolve, reject) => {
    const items = [];
    client.on('event', (e) => {
      if (e.ActionID !== 'channels') return;
      if (e.Event === 'CoreShowChannel') items.push(e);
      if (e.EventList === 'Complete') resolve({ items, end: e });
    });
    client.action({ Action: 'CoreShowChannels', ActionID: 'channels' }, true).catch(reject);
  }),
  command: () => client.action({ Action: 'Command', Command: job.COMMAND }, true)
    .then((res) => ({ response: res, output: res.Output || res.$content })),
  originate: () => client.action({ Action: 'Originate', ...job.originate }, true),
  logoff: () => {
    const closed = new Promise((resolve) => client.on('disconnect', resolve));
    return client.action({ Action: 'Logoff' }, true).then((res) => closed.then(() => res));
  },
});
