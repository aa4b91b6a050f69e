// The table of channels of the live page.
'use strict';

// A ChannelTable shows channels in the rows of a table, each with buttons: text, the
// action that it is for, and press, which is called with the channel.
class ChannelTable {
	#body;
	#buttons;
	#rows = new Map(); // By server and Uniqueid, or name, of the channel.

	constructor(body, buttons) {
		this.#body = body;
		this.#buttons = buttons;
	}

	// render shows a list of channels; may says which actions have their buttons. Rows
	// stay the same elements, so that the focus stays where it is; render reports
	// whether it has gone with its row.
	render(list, may) {
		const left = new Set(this.#rows.keys());
		for (const c of list) {
			const k = key(c.server, c.uniqueid || c.channel);
			left.delete(k);
			if (!this.#rows.has(k)) {
				this.#rows.set(k, this.#makeRow());
				this.#body.append(this.#rows.get(k).element);
			}
			this.#fill(this.#rows.get(k), c, may);
		}
		let lost = false;
		for (const k of left) {
			const { element } = this.#rows.get(k);
			lost = lost || element.contains(document.activeElement);
			element.remove();
			this.#rows.delete(k);
		}
		return lost;
	}

	// tick lets the time go on.
	tick() {
		for (const row of this.#rows.values()) {
			row.cells.time.textContent = age(row.began);
		}
	}

	#makeRow() {
		const row = { element: document.createElement('tr'), cells: {}, buttons: [], channel: null, began: 0 };
		row.element.setAttribute('role', 'row');
		for (const [name, label] of [['server', 'Server'], ['channel', 'Channel'], ['state', 'State'], ['caller', 'Caller'],
			['extension', 'Extension'], ['link', 'Connected to'], ['time', 'Time'], ['todo', '']]) {
			const cell = document.createElement('td');
			cell.setAttribute('role', 'cell');
			cell.className = name;
			if (label) {
				cell.dataset.label = label;
			}
			row.cells[name] = cell;
			row.element.append(cell);
		}
		for (const { text, action, press } of this.#buttons) {
			const button = document.createElement('button');
			button.type = 'button';
			button.textContent = text;
			button.addEventListener('click', () => press(row.channel));
			row.buttons.push({ button, action });
			row.cells.todo.append(button);
		}
		return row;
	}

	// #fill writes what has changed.
	#fill(row, c, may) {
		row.channel = c;
		row.began = since1970(c);
		const texts = {
			server: c.server, channel: c.channel, state: c.state || '', caller: callerOf(c), extension: locationOf(c),
			link: c.link || (c.others ? `${c.others} others` : ''), time: age(row.began),
		};
		for (const name in texts) {
			if (row.cells[name].textContent !== texts[name]) {
				row.cells[name].textContent = texts[name];
			}
		}
		for (const { button, action } of row.buttons) {
			button.hidden = !may(action);
			button.setAttribute('aria-label', `${button.textContent} ${placeOf(c)}`);
		}
	}
}

// placeOf returns which channel it is, to a person.
function placeOf(c) { return c.channel + (c.server ? ` on ${c.server}` : ''); }

// since1970 is when a channel began; a Uniqueid says it in seconds.
function since1970(c) {
	const found = /(?:^|-)(\d{9,})\.\d+$/.exec(c.uniqueid || '');
	return found ? Number(found[1]) : 0;
}

function age(began) {
	if (!began) {
		return '';
	}
	const s = Math.max(0, Math.floor(Date.now() / 1000) - began);
	const two = (n) => String(n).padStart(2, '0');
	return (s >= 3600 ? Math.floor(s / 3600) + ':' + two(Math.floor(s / 60) % 60) : Math.floor(s / 60)) + ':' + two(s % 60);
}
