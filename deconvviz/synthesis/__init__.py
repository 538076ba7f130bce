"""Synthetic pictures: what excites a channel most, by activation maximisation (Olah, Mordvintsev and Schubert 2017)."""
