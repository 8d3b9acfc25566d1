/** What a page with the package needs of Vite: modules as workers, and today's JavaScript. */
export default {
  base: './',
  worker: { format: 'es' },
  build: { target: 'es2022' },
};
