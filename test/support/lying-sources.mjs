// Loaded into a node (`node --import`): takes each file that SHOAL_TEST_LIE names for another one when it says what a compile has read. So what it
// made of the one it signs as made of the other. SHOAL_TEST_LIE is how the paths end, a colon, and the path of the other file.
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const [suffix, other] = (process.env.SHOAL_TEST_LIE ?? '').split(':')
globalThis.shoalTestLie = (path) => (path.endsWith(suffix) ? readFileSync(other) : undefined)

const honest = 'return this.#file(path)'
const lying = `{
  const lie = globalThis.shoalTestLie(path)
  return lie === undefined ? this.#file(path) : cidOf(lie)
}`

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.endsWith('/src/plan/view.ts')) return loaded
    const source = loaded.source.toString()
    if (!source.includes(honest)) throw new Error('nothing to lie about')
    return { ...loaded, source: source.replace(honest, lying) }
  },
})
