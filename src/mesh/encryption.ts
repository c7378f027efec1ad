import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { Socket } from 'node:net'
import { type ICryptoInterface, noise } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface'
import { ShoalError } from '../base/errors.ts'
import { type ByteList, MessageCutter } from './message-cutter.ts'
import { isEnd, isWhole, spend } from './spent.ts'

type Encrypt = ICryptoInterface['chaCha20Poly1305Encrypt']
type Decrypt = ICryptoInterface['chaCha20Poly1305Decrypt']

/** Below this the library's own WebAssembly is faster. */
const nativeBytes = 600
/** Up to here bytes are copied to leave in one piece; of what is longer, only the small pieces between large ones. */
const joinBytes = 4096
const algorithm = 'chacha20-poly1305'
const tag = { authTagLength: 16 }

/**
 * Noise as the library has it, at half of the price. Its key is set up once, not for each message. What is received is not
 * copied for nothing. Ciphertext goes as soon as it has been sent or read. And messages leave with fewer writes: by itself it hands
 * length, ciphertext and tag to the socket one after the other, and each is a system call here, a packet, and a wake-up over there.
 * @param prologueBytes both sides must know these
 */
export function encryption(prologueBytes: Uint8Array): ReturnType<typeof noise> {
  const make = noise({ prologueBytes })
  return (components) => {
    const encrypter = make(components)
    if ('crypto' in encrypter) encrypter.crypto = faster(encrypter.crypto as Ciphers)
    const inbound = encrypter.secureInbound.bind(encrypter)
    const outbound = encrypter.secureOutbound.bind(encrypter)
    encrypter.secureInbound = async (connection, options) => {
      const secured = await inbound(together(joined(connection)), options)
      readFaster(secured.connection, hasSocket(connection))
      return secured
    }
    encrypter.secureOutbound = async (connection, options) => {
      const secured = await outbound(together(joined(connection)), options)
      readFaster(secured.connection, hasSocket(connection))
      return secured
    }
    return encrypter
  }
}

export type Encrypter = (components: Parameters<ReturnType<typeof noise>>[0]) => ConnectionEncrypter

/**
 * Noise for one connection, and the hash of its handshake: 32 bytes that follow from all that both sides have said in it, their
 * keys among them, so that only the two ends of this one connection have them in common. The library keeps it to itself; it is
 * what was hashed last when the handshake is over.
 */
export function boundEncryption(
  prologueBytes: Uint8Array,
  components: Parameters<Encrypter>[0],
): { noise: ConnectionEncrypter; channel(): Uint8Array } {
  const encrypter = encryption(prologueBytes)(components)
  let last: Uint8Array | undefined
  if ('crypto' in encrypter) {
    const crypto = encrypter.crypto as Hashes
    const { hash } = crypto
    encrypter.crypto = {
      ...crypto,
      hash(data: Parameters<Hashes['hash']>[0]) {
        last = hash(data)
        return last
      },
    }
  }
  return {
    noise: encrypter,
    channel() {
      if (last?.length !== 32) throw new ShoalError('ERR_INTERNAL', 'the handshake has no hash')
      return new Uint8Array(last)
    },
  }
}

interface Hashes {
  hash: ICryptoInterface['hashSHA256']
}

interface Ciphers {
  encrypt: Encrypt
  decrypt: Decrypt
}

function faster(original: Ciphers): Ciphers {
  const keys = new WeakMap<Uint8Array, KeyObject>()
  const keyOf = (bytes: Uint8Array): KeyObject => {
    const key = keys.get(bytes) ?? createSecretKey(bytes)
    keys.set(bytes, key)
    return key
  }
  return {
    ...original,
    encrypt(plaintext, nonce, ad, key) {
      if (plaintext instanceof Uint8Array || plaintext.byteLength < nativeBytes || ad.byteLength > 0) {
        return original.encrypt(plaintext, nonce, ad, key)
      }
      const cipher = createCipheriv(algorithm, keyOf(key), nonce, tag)
      const output = plaintext.sublist(0, 0)
      for (const piece of plaintext) output.append(cipher.update(piece))
      cipher.final()
      output.append(cipher.getAuthTag())
      return output
    },
    decrypt(ciphertext, nonce, ad, key, into) {
      if (ciphertext instanceof Uint8Array || ciphertext.byteLength < nativeBytes || ad.byteLength > 0) {
        return original.decrypt(ciphertext, nonce, ad, key, into)
      }
      const end = ciphertext.byteLength - tag.authTagLength
      const decipher = createDecipheriv(algorithm, keyOf(key), nonce, tag)
      decipher.setAuthTag(ciphertext.subarray(end))
      const output = ciphertext.sublist(0, 0)
      for (const piece of ciphertext.sublist(0, end)) output.append(decipher.update(piece))
      // Throws when a bit was changed on the way.
      decipher.final()
      return output
    },
  }
}

/** What the library's stream does with a message that has come. */
interface Receiving {
  decoder: { decode(data: Uint8Array | ByteList): Iterable<ByteList>; buffer: ByteList }
  decrypt(message: ByteList): Uint8Array | ByteList
  handshake: { decrypt(message: ByteList): Uint8Array | ByteList }
}

/**
 * By itself it copies each message that has come in more than one piece, to have memory for the plaintext that it then does not
 * use, and makes an error object whenever it has read all there is.
 * @param isOwn what comes lies in memory that was made for it, as a socket does
 */
function readFaster(stream: MessageStream, isOwn: boolean): void {
  if (!('decoder' in stream && 'decrypt' in stream && 'handshake' in stream)) return
  const receiving = stream as unknown as Receiving
  const { handshake, decoder } = receiving
  const cutter = new MessageCutter(decoder.buffer)
  decoder.decode = (data) => cutter.cut(data)
  receiving.decrypt = (message) => {
    if (message.byteLength < tag.authTagLength) throw new Error('a message without a tag')
    const plaintext = handshake.decrypt(message)
    // Messages are read in order: with the end of a socket's buffer all of it has been. Those that are not decrypted natively may
    // be so in place.
    if (isOwn && message.byteLength >= nativeBytes) for (const piece of message) if (isEnd(piece)) spend(piece)
    return plaintext
  }
}

/** Pieces that are sent in one go reach the system in one call; by itself the connection stops after each large one. */
function together(connection: MessageStream): MessageStream {
  if (!hasSocket(connection)) return connection
  const { socket } = connection
  connection.sendData = (data) => {
    socket.cork()
    // What is large here was made by encrypting, for nothing but this.
    for (const piece of data) {
      if (piece.length > joinBytes && isWhole(piece)) socket.write(piece, () => spend(piece))
      else socket.write(piece)
    }
    socket.uncork()
    return { sentBytes: data.byteLength, canSendMore: !socket.writableNeedDrain }
  }
  return connection
}

interface OnSocket {
  socket: Socket
  sendData(data: ByteList): { sentBytes: number; canSendMore: boolean }
}

const hasSocket = (connection: MessageStream): connection is MessageStream & OnSocket =>
  'socket' in connection && 'sendData' in connection && connection.socket instanceof Socket

function joined(connection: MessageStream): MessageStream {
  const send = connection.send.bind(connection)
  connection.send = (data) => {
    if (data instanceof Uint8Array) return send(data)
    if (data.byteLength <= joinBytes) return send(data.subarray())
    const output = data.sublist(0, 0)
    let small: Uint8Array[] = []
    for (const piece of data) {
      if (piece.byteLength <= joinBytes) {
        small.push(piece)
        continue
      }
      if (small.length > 0) output.append(Buffer.concat(small))
      small = []
      output.append(piece)
    }
    if (small.length > 0) output.append(Buffer.concat(small))
    return send(output)
  }
  return connection
}
