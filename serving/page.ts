/** The page at `/`: the built dashboard, or a clear text where it is not built. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { answerFailure } from './failures.ts'

const notBuilt = 'The page is not built yet: "npm start" builds it. The figures are at /v1/revenue, /v1/products/top and /v1/status; /openapi.json lists all.\n'

export async function routePage(app: FastifyInstance, folder: string): Promise<void> {
  if (!existsSync(join(folder, 'index.html'))) {
    app.get('/', { schema: { hide: true } }, async (_request, reply) => reply.code(503).type('text/plain; charset=utf-8').send(notBuilt))
    return
  }
  await app.register(async (files) => {
    // Paths that lead upward, and others that name no file plainly, are refused with 403: to a caller they are nothing, like any that is not there.
    files.setErrorHandler((error, request, reply) => {
      if ((error as { statusCode?: unknown }).statusCode === 403) return reply.callNotFound()
      return answerFailure(error, request, reply)
    })
    await files.register(fastifyStatic, {
      root: folder,
      schemaHide: true,
      cacheControl: false,
      dotfiles: 'ignore',
      setHeaders(response, path) {
        // Assets are named by their content; only the page itself changes under its name.
        void response.header('Cache-Control', path.endsWith('index.html') ? 'no-cache' : 'public, max-age=31536000, immutable')
      },
    })
  })
}
