import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decoders } from './before-admission.ts'
import { feed } from './feed.ts'
import { fuzzRuns as inputs } from './office.ts'

const seed = 21
const mostHeapMiB = 32
const mostMiB = 512

for (const decoder of decoders) {
  test(`${decoder.name}: of ${inputs} inputs each is read or refused with a code, and none costs memory`, () => {
    for (const sample of decoder.samples) decoder.decode(sample)
    const { refused, heapMiB, peakMiB } = feed(decoder, inputs, seed)
    // A decoder that nothing is refused by is one for which everything means something, or was not reached.
    assert.equal(refused > 0, decoder.refuses !== false)
    assert.ok(heapMiB < mostHeapMiB, `the heap has grown by ${heapMiB} MiB`)
    assert.ok(peakMiB < mostMiB, `${peakMiB} MiB in memory`)
  })
}
