import type { StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'

/** What yamux keeps of a stream, as far as it is looked at here. */
interface Windowed {
  /** Bytes that the other side may send after an update, and may still send now. */
  recvWindow: number
  recvWindowCapacity: number
  state: number
  sendWindowUpdate(): void
}

/** Of a stream that both sides have opened and that is not paused. */
const established = 3

/**
 * Yamux that opens a stream's window again when half of it is used up. By itself it does so for every frame that comes: a
 * message, encrypted, in a packet of its own, which wakes the other side up. For a piece of a block that is as much work as all else
 * that is done with it, and for each small frame it is an answer that nobody needs.
 */
export function withFewerUpdates(factory: StreamMuxerFactory): StreamMuxerFactory {
  const { createStreamMuxer } = factory
  factory.createStreamMuxer = (connection) => {
    const muxer = createStreamMuxer.call(factory, connection)
    if (makesStreams(muxer)) {
      const make = muxer._newStream.bind(muxer)
      muxer._newStream = (...args) => sparing(make(...args))
    }
    return muxer
  }
  return factory
}

function sparing(stream: Windowed): Windowed {
  const update = stream.sendWindowUpdate.bind(stream)
  stream.sendWindowUpdate = () => {
    if (stream.state === established && stream.recvWindowCapacity > stream.recvWindow / 2) return
    update()
  }
  return stream
}

interface MakesStreams {
  _newStream(...args: readonly unknown[]): Windowed
}

const makesStreams = (muxer: StreamMuxer): muxer is StreamMuxer & MakesStreams => '_newStream' in muxer
