// Asterisk's manager interface over HTTP, for web pages. An Astman sends actions,
// waits for events, and follows channels. Its public functions are those of the
// library of this name that comes with Asterisk, so that pages written for that one
// work; those that Asterisk's lacks are marked "also". It needs no other library.
//
//	astmanEngine.setURL('../rawman');
//	astmanEngine.setEventCallback(function (msgs) { ...; astmanEngine.pollEvents(); });
//	astmanEngine.sendRequest('action=ping', function (msgs) { ... });
//
// A message is {headers, names}: headers by their names in lower case (of several with
// one name the last), and all names in order. All that comes from a PBX is text that a
// caller may have chosen: show it as text, never as HTML.
'use strict';

class Astman {
	#url = '../rawman';
	#debug = null;
	#onEvents = () => {};
	#onError = (error) => window.alert(error.message);
	#onChannel = () => {};
	#channels = new Map();

	// setURL says where rawman is.
	setURL(url) { this.#url = url; }

	// setEventCallback says who gets the messages that pollEvents brings.
	setEventCallback(callback) { this.#onEvents = callback; }

	// setErrorCallback says, also, who gets the Error when a request has no answer.
	setErrorCallback(callback) { this.#onError = callback; }

	// setDebug shows every answer in a text field.
	setDebug(field) { this.#debug = field; }

	// request sends, also, an action and promises its messages. The action is an
	// object or a list of pairs, or a text that is encoded as a form. It is posted, so
	// that no secret gets into a log of addresses.
	async request(action) {
		const response = await fetch(this.#url, {
			method: 'POST',
			body: typeof action === 'string' ? action : new URLSearchParams(action).toString(),
			headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
			credentials: 'include',
			cache: 'no-store',
		});
		if (!response.ok) {
			throw new Error(`The server answered ${response.status} ${response.statusText}`.trim());
		}
		return this.#parse(await response.text());
	}

	// sendRequest sends an action and calls back with its messages.
	sendRequest(action, callback) {
		this.request(action).then((msgs) => callback && callback(msgs), (error) => this.#onError(error));
	}

	// pollEvents waits for events once; who gets them calls it again for more.
	pollEvents() { this.sendRequest('action=waitevent', (msgs) => this.doEvents(msgs)); }

	// doEvents, managerResponse and eventResponse do what follows an answer, for pages
	// that send requests themselves; t.responseText is the answer.
	doEvents(msgs) { this.#onEvents(msgs); }
	managerResponse(t, callback) { this.parseResponse(t, callback || (() => {})); }
	eventResponse(t) { this.parseResponse(t, (msgs) => this.doEvents(msgs)); }

	// parseResponse calls back with the messages of t.responseText.
	parseResponse(t, callback) { callback(this.#parse(t.responseText)); }

	#parse(text) {
		const msgs = [];
		let msg = null;
		for (const line of text.split(/\r?\n/)) {
			if (line === '') {
				msg = null;
				continue;
			}
			if (!msg) {
				// Without a prototype no name means something else.
				msg = { headers: Object.create(null), names: [] };
				msgs.push(msg);
			}
			const colon = line.indexOf(':');
			const name = (colon < 0 ? line : line.slice(0, colon)).trim().toLowerCase();
			msg.headers[name] = colon < 0 ? '' : line.slice(colon + 1).trim();
			msg.names.push(name);
		}
		if (this.#debug) {
			this.#debug.value = text;
		}
		return msgs;
	}

	// channelUpdate follows a channel by an event, or by an item of Status. name is
	// for messages without a Channel header.
	channelUpdate(msg, name) {
		const h = msg.headers;
		name = name || h.channel;
		const event = (h.event || '').toLowerCase();
		if (event === 'link' || event === 'unlink') { // of Asterisk 1.4
			this.#link(h, event === 'link');
			return;
		}
		const channel = this.#find(h, name);
		switch (event) {
		case '':
		case 'newchannel':
		case 'status':
		case 'coreshowchannel':
			if (name) {
				this.#take(this.#make(h, name), h);
			}
			break;
		case 'hangup':
			if (channel) {
				this.#channels.delete(key(channel.server, channel.channel));
			}
			break;
		case 'rename':
			this.#rename(this.#find(h, h.oldname || name), h.newname);
			break;
		case 'bridgeenter':
		case 'bridgeleave':
			if (channel) {
				channel.bridge = event === 'bridgeenter' ? h.bridgeuniqueid : '';
				this.#take(channel, h);
			}
			break;
		// Others, CEL for one, may come after the Hangup, or tell of another time.
		case 'newstate':
		case 'newexten':
		case 'newcallerid':
		case 'newconnectedline':
		case 'newaccountcode':
			if (channel) {
				this.#take(channel, h);
			}
		}
	}

	// #find returns the channel of that name which a message is about. A name may be
	// used again, a Uniqueid is not.
	#find(h, name) {
		const channel = this.#channels.get(key(h.server, name));
		return channel && h.uniqueid && channel.uniqueid && h.uniqueid !== channel.uniqueid ? undefined : channel;
	}

	#make(h, name) {
		let channel = this.#find(h, name);
		if (!channel) {
			channel = { channel: name, server: h.server || '' };
			this.#channels.set(key(h.server, name), channel);
		}
		return channel;
	}

	// #take takes what a message tells of a channel; Asterisk has renamed most headers
	// since 1.4.
	#take(channel, h) {
		const set = (field, ...names) => {
			const value = names.map((n) => h[n]).find((v) => v && v !== '<unknown>');
			if (value) {
				channel[field] = value;
			}
		};
		set('callerid', 'calleridnum', 'callerid');
		set('calleridname', 'calleridname');
		set('context', 'context');
		set('extension', 'extension', 'exten');
		set('priority', 'priority');
		set('account', 'accountcode', 'account');
		set('state', 'channelstatedesc', 'state');
		set('uniqueid', 'uniqueid');
		if ('bridgeid' in h) {
			channel.bridge = h.bridgeid;
		}
	}

	#link(h, linked) {
		const one = this.#channels.get(key(h.server, h.channel1));
		const two = this.#channels.get(key(h.server, h.channel2));
		if (one) {
			one.linked = linked ? h.channel2 : '';
		}
		if (two) {
			two.linked = linked ? h.channel1 : '';
		}
	}

	#rename(channel, name) {
		if (channel && name) {
			this.#channels.delete(key(channel.server, channel.channel));
			channel.channel = name;
			this.#channels.set(key(channel.server, name), channel);
		}
	}

	// channelClear forgets all channels, or, also, those of one server.
	channelClear(server) {
		for (const [k, channel] of this.#channels) {
			if (server === undefined || channel.server === server) {
				this.#channels.delete(k);
			}
		}
	}

	// channelInfo returns a channel, undefined if there is none of that name: channel,
	// callerid, calleridname, context, extension, priority, account, state, link,
	// uniqueid, as far as they are known; also server, and others, which says how many
	// more are in its bridge. A server picks, also, among channels of one name.
	channelInfo(name, server) {
		return this.channelList().find((c) => c.channel === name && (server === undefined || c.server === server));
	}

	// channelList returns, also, all channels, oldest first.
	channelList() {
		const bridges = new Map();
		for (const c of this.#channels.values()) {
			if (c.bridge) {
				const k = key(c.server, c.bridge);
				bridges.set(k, (bridges.get(k) || []).concat(c.channel));
			}
		}
		return Array.from(this.#channels.values(), (c) => {
			const others = ((c.bridge && bridges.get(key(c.server, c.bridge))) || []).filter((name) => name !== c.channel);
			return { ...c, others: others.length, link: others.length === 1 ? others[0] : c.linked || undefined };
		});
	}

	// channelTable returns all channels as the HTML of a table, in which a click on a
	// row calls back with the channel's name.
	channelTable(callback) {
		this.#onChannel = callback || (() => {});
		const channels = this.channelList();
		if (!channels.some((c) => c.channel === this.selecttarget)) {
			this.selecttarget = null;
		}
		const cell = (text, none) => '<td>' + (text ? escapeHTML(text) : `<i class="light">${none}</i>`) + '</td>';
		const rows = channels.map((c, i) => {
			const kind = c.channel === this.selecttarget ? 'chanlistselected' : oddOrEven(i);
			return `<tr class="${kind}" id="${escapeHTML(c.channel)}" tabindex="0">` +
				cell(c.channel) + cell(c.state, 'unknown') + cell(callerOf(c), 'unknown') +
				cell(locationOf(c), 'none') + cell(c.link, 'none') + '</tr>';
		});
		if (rows.length === 0) {
			rows.push('<tr><td colspan="5"><i class="light">No active channels</i></td></tr>');
		}
		return '<table class="chantable"><tr class="labels" id="labels"><td>Channel</td><td>State</td><td>Caller</td>' +
			'<td>Location</td><td>Link</td></tr>' + rows.join('') + '</table>';
	}

	// clickChannel selects the row of channelTable that an event is from.
	clickChannel(event) {
		const row = event.target.closest('.chantable tr[id]:not(.labels)');
		if (!row) {
			return;
		}
		if (this.selecttarget) {
			this.restoreTarget(this.selecttarget);
		}
		this.selecttarget = row.id;
		row.className = 'chanlistselected';
		this.#onChannel(row.id);
	}

	// restoreTarget shows the row of a channel as one that is not selected.
	restoreTarget(name) {
		const row = document.getElementById(name);
		if (row) {
			row.className = oddOrEven(row.rowIndex - 1);
		}
	}
}

// key is what a channel or a bridge is kept by: PBXes may use one name each.
function key(server, name) { return (server || '') + '\n' + name; }

// callerOf returns the name and number of a channel's caller.
function callerOf(c) {
	return c.calleridname && c.callerid ? `${c.calleridname} <${c.callerid}>` : c.calleridname || c.callerid || '';
}

// locationOf returns where in the dialplan a channel is.
function locationOf(c) { return c.extension ? `${c.extension}@${c.context || ''}:${c.priority || ''}` : ''; }

function oddOrEven(i) { return i % 2 ? 'chanlistodd' : 'chanlisteven'; }

function escapeHTML(text) {
	return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

var astmanEngine = new Astman(); // eslint-disable-line no-var -- pages look for it in window

// One listener for all tables: a policy for scripts may forbid those inside HTML.
document.addEventListener('click', (event) => astmanEngine.clickChannel(event));
document.addEventListener('keydown', (event) => {
	if (event.key === 'Enter') {
		astmanEngine.clickChannel(event);
	}
});
