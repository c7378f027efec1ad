// Loaded into a node (`node --import`): writes everything that is about to be encrypted, and everything that is about to be
// compressed before that, to the file that SHOAL_TEST_TAP names.
import crypto from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import zlib from 'node:zlib'

const file = process.env.SHOAL_TEST_TAP
const note = (bytes) => appendFileSync(file, bytes)

const { createCipheriv } = crypto
crypto.createCipheriv = (...args) => {
  const cipher = createCipheriv(...args)
  const update = cipher.update.bind(cipher)
  cipher.update = (data, ...rest) => {
    note(data)
    return update(data, ...rest)
  }
  return cipher
}
for (const name of ['zstdCompressSync', 'zstdCompress']) {
  const compress = zlib[name]
  zlib[name] = (data, ...rest) => {
    note(data)
    return compress(data, ...rest)
  }
}
syncBuiltinESMExports()

// What is short is encrypted by WebAssembly.
const require = createRequire(import.meta.url)
const { ChaCha20Poly1305 } = require(['@chainsafe', 'as-chacha20poly1305'].join('/'))
const { seal } = ChaCha20Poly1305.prototype
ChaCha20Poly1305.prototype.seal = function (key, nonce, plaintext, ...rest) {
  note(plaintext)
  return seal.call(this, key, nonce, plaintext, ...rest)
}
