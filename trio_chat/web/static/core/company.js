// Who else is in a room: who is there, who writes, and who has read up to where. Pure.

export class Company {
  /** What was said of everybody who is there, by user. */
  people = new Map();
  /** Who writes. */
  typing = new Set();
  /** @type {Map<string, {lastReadMessageId: string, timestamp: string}>} by user. */
  receipts = new Map();

  /** Take in what the server says of people. */
  hear(said) {
    switch (said.type) {
      case "receipt:list":
        this.receipts = new Map(Object.entries(said.receipts));
        break;
      case "receipt:update":
        this.receipts.set(said.userId, { lastReadMessageId: said.lastReadMessageId, timestamp: said.timestamp });
        break;
      case "presence:list":
        this.people = new Map(said.members.map((one) => [one.userId, one]));
        break;
      case "presence:update":
        if (said.isActive) this.people.set(said.userId, said);
        else this.people.delete(said.userId);
        if (!said.isActive) this.typing.delete(said.userId);
        break;
      case "typing:start":
        this.typing.add(said.userId);
        break;
      case "typing:stop":
        this.typing.delete(said.userId);
        break;
    }
  }

  /** @returns {Map<string, string[]>} who has read up to which message, by message id. `me` is left out. */
  readers(me) {
    const found = new Map();
    for (const [user, { lastReadMessageId: id }] of this.receipts) {
      if (user !== me) found.set(id, [...(found.get(id) ?? []), user]);
    }
    return found;
  }
}
