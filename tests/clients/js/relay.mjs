// A relay between a client and the server under test. It breaks the line at an exact byte, so that
// no scenario depends on how fast anything is, and it counts what the client really sent.
import http from 'node:http'

export class Relay {
  // Every request in the order it came: { method, offset, sent, forwarded, status }.
  exchanges = []
  #target
  #server
  #room = Infinity
  #atLimit = null
  #limitReached = null
  #answersToLose = 0
  #keepUpstream = false
  #upstreams = new Set()

  static async open(endpoint) {
    const relay = new Relay()
    relay.#target = new URL(endpoint)
    relay.#server = http.createServer((req, res) => {
      relay.#exchange(req, res).catch((error) => req.socket.destroy(error))
    })
    await new Promise((resolve, reject) => {
      relay.#server.once('error', reject).listen(0, '127.0.0.1', resolve)
    })
    return relay
  }

  get endpoint() {
    const url = new URL(this.#target)
    url.hostname = '127.0.0.1'
    url.port = this.#server.address().port
    return url.href
  }

  // Lets `room` bytes of PATCH bodies through and then swallows the rest, as a network does whose
  // buffers still fill while nothing arrives any more. Resolves once those bytes are on their way.
  stallAfter(room) {
    return this.#limit(room, 'stall')
  }

  // Lets `room` bytes of PATCH bodies through and then closes the connection, both sides.
  cutAfter(room) {
    return this.#limit(room, 'cut')
  }

  // Lets everything through again.
  mend() {
    this.#room = Infinity
    this.#atLimit = null
  }

  // The next PATCH reaches the server whole, but its answer never reaches the client.
  loseNextAnswer() {
    this.#answersToLose += 1
  }

  // From now on the server is not told when a client leaves: its connection stays open and silent.
  hideDepartures() {
    this.#keepUpstream = true
  }

  methods() {
    return this.exchanges.map((exchange) => exchange.method)
  }

  patches() {
    return this.exchanges.filter((exchange) => exchange.method === 'PATCH')
  }

  close() {
    for (const upstream of this.#upstreams) upstream.destroy()
    this.#server.closeAllConnections()
    this.#server.close()
  }

  #limit(room, what) {
    this.#room = room
    this.#atLimit = what
    return new Promise((resolve) => {
      this.#limitReached = resolve
    })
  }

  async #exchange(req, res) {
    const exchange = {
      method: req.method,
      offset: req.headers['upload-offset'],
      sent: 0,
      forwarded: 0,
      status: null,
    }
    this.exchanges.push(exchange)

    const { connection: _connection, ...headers } = req.headers
    const { hostname, port } = this.#target
    const upstream = http.request({
      agent: false,
      hostname,
      port,
      method: req.method,
      path: req.url,
      headers,
    })
    this.#upstreams.add(upstream)
    upstream.on('close', () => this.#upstreams.delete(upstream))
    upstream.on('error', () => req.socket.destroy())
    res.on('close', () => {
      if (!res.writableFinished && !this.#keepUpstream) upstream.destroy()
    })
    upstream.on('response', (answer) => {
      exchange.status = answer.statusCode
      if (req.method === 'PATCH' && this.#answersToLose > 0) {
        this.#answersToLose -= 1
        answer.resume()
        req.socket.destroy()
        return
      }
      res.writeHead(answer.statusCode, answer.rawHeaders)
      answer.pipe(res)
    })
    upstream.flushHeaders()

    try {
      for await (const chunk of req) {
        exchange.sent += chunk.length
        await this.#forward(exchange, chunk, upstream, req)
      }
    } catch (error) {
      // The client left in mid-body, which is what most scenarios are about.
      if (error.code === 'ECONNRESET') return
      throw error
    }
    if (exchange.forwarded === exchange.sent) upstream.end()
  }

  async #forward(exchange, chunk, upstream, req) {
    // Once a gap has been torn, nothing after it may be sent, also when the line is mended.
    if (exchange.forwarded + chunk.length < exchange.sent) return
    const limited = req.method === 'PATCH'
    const part = limited ? chunk.subarray(0, this.#room) : chunk
    if (part.length > 0) await flushed(upstream, part)
    exchange.forwarded += part.length
    if (!limited) return
    this.#room -= part.length
    if (this.#room > 0) return
    if (this.#atLimit === 'cut') {
      this.mend()
      upstream.destroy()
      req.socket.destroy()
    }
    this.#limitReached?.()
    this.#limitReached = null
  }
}

// Resolves when the bytes are with the operating system, or the connection is gone.
function flushed(stream, bytes) {
  return new Promise((resolve) => {
    stream.write(bytes, () => resolve())
  })
}
