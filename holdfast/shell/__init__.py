"""The common look of all pages: layout, design tokens, small components, English and Korean.

A feature's pages live in its own `pages/` folder and extend the layout here. There is no build
step and nothing is loaded from elsewhere. The shell knows no app.
"""
